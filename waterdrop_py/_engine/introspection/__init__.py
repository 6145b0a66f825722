"""What a producer says of itself: statistics, idle report, health."""
