"""What a gate is made of: rules, the questions they ask, the verdict, and the forms in which it is written."""
