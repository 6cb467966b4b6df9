"""What is done with recipes beside running them: choosing, learning, calibrating, training."""
