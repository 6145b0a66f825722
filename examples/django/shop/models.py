"""What the shop keeps."""

from django.db import models


class Order(models.Model):
    """What a customer orders."""

    item = models.CharField(max_length=100)
