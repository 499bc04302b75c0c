"""Amazon EBS: the provider, what it knows of volumes, attachments and devices, and its doors to EC2 and to IMDS."""
