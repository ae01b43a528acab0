"""Speed and memory of deformable convolution, side by side: ours on each engine, Keras's Conv2D, and the peers."""
