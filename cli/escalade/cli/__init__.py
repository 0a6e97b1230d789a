"""The front door: `escalade <verb>`; imports a part only when its verb is called."""
