/** The machine is gone; `retry(conditions: [agent()])` is for this. */
class AgentLost extends Exception {
    AgentLost(String agent) { super("agent ${agent} is gone") }
}
