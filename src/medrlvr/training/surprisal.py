"""Log the mean surprisal of right and of wrong responses.

The surprisal of a token is minus the logarithm of the probability with which the policy sampled it. Its expectation is
the entropy of the next token's distribution. OpenRLHF reports one entropy for all tokens of a micro-batch, which cannot
be divided by the correctness of the responses. The logged values change nothing that OpenRLHF computes.
"""

from medrlvr.training.patching import Patch, Replacement

# A product with the correctness is logged, because OpenRLHF averages over responses: the mean over right responses is
# the mean of the product, divided by the share of right responses.
_KL = '            samples.info["kl"] = kl_mean\n'
PATCHES = {
    "openrlhf.trainer.ppo_utils.experience_maker": Patch(
        [
            Replacement(
                _KL,
                f"{_KL}"
                "            surprisal = -masked_mean(action_log_probs.float(), samples.action_mask, dim=-1)\n"
                '            samples.info["surprisal"] = surprisal\n'
                '            if "correct" in samples.info:\n'
                '                samples.info["surprisal_right"] = surprisal * samples.info["correct"]\n',
            )
        ]
    )
}
"""Module -> patch."""
