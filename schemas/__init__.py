"""The contract between all stages: records, their Avro schemas, keys and topics. Stages meet here and nowhere else."""
