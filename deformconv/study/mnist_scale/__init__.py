"""MNIST-scale, a public protocol: its digits, and networks trained from scratch on them."""
