"""The test bed: a real control plane, a real LangGraph server, and a stub for load and faults."""
