"""The command line ``fusion-ros <verb>``: one file a verb, imported only when it is called."""
