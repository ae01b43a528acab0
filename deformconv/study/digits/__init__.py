"""The digits: the classifier of 2017, its variants and controls, on digits of many sizes."""
