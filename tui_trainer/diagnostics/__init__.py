"""One pair per problem: the rule beside its playbook."""
