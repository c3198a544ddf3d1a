"""Questions answered from stored counts: sensor values, intervals, conventions."""
