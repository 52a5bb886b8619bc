"""Do trained networks have the spectrum that the Episodic Memory Theory predicts, over tasks, widths and penalties?"""
