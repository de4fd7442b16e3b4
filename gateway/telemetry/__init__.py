"""What the gateway tells about itself: named events and metrics."""
