"""The book's drawings: functions that draw on a new matplotlib figure and return it."""

from deformconv.course.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, show_image, style

__all__ = ["BLACK", "BLUE", "GREEN", "ORANGE", "PURPLE", "SKY", "VERMILION", "show_image", "style"]
