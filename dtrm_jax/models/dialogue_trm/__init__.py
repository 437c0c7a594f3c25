"""The paper's model: DialogueTRM-U and DialogueTRM-M."""
