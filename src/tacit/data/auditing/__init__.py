"""The checks behind `tacit.data.audit`: one theme per file, numpy alone, every number from a bounded sample of a store."""
