//! A Windows Server as the playbook treats it.
