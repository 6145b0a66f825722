"""From a delivery report to an outcome and its events; flushing; giving up."""
