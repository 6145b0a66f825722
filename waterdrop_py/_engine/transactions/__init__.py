"""One transaction at a time: begin, commands, commit or abort."""
