"""The checks that the chapters' exercises call: `check_...(your_function)`."""

__all__ = []
