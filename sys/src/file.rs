//! Files: durable replacement, bounded reading.
