from decodebench.testing import Broken, Subject, check


@check("Cut the draft before it is verified.")
def drafts_keep_their_length(subject: Subject) -> str:
    """No cycle drafts more tokens than the option draft_length says."""
    most = subject.cell.options.draft_length
    for generation in subject.greedy:
        for step in generation.steps:
            if (step.get("drafted") or 0) > most:
                raise Broken(f"step {step['index'] + 1} drafts {step['drafted']} tokens; draft_length = {most}")
    return f"at most {most} tokens"
