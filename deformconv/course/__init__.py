"""What the chapters show and check: figures and exercises."""
