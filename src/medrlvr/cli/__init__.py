"""The command `medrlvr`: one module per group of commands, imported when the command is used."""
