"""What `gateway doctor` sees and says: probes observe, pure judges turn observations into findings."""
