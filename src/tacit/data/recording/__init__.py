"""Recording a live machine: samples are copied on the control thread, and written by others."""
