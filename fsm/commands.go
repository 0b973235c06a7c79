package fsm

// commands is the table of all commands, a line each. A retired command keeps its line for ever,
// marked so, because an old log or backup may hold it.
func commands() []spec {
	return []spec{
		// The cluster itself.
		define[TermStarted, None](1),
		define[HashCheck, None](1),
		define[SetStore, None](1),

		// Nodes.
		define[NodeStarted, None](1),
		define[NodeJoined, None](1),
		define[RetireNode, None](1),
		define[DropNode, None](1),
	}
}

// None is the result of a command that has nothing to say.
type None struct{}
