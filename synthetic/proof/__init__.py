"""The proof: synthetic rows are released only where each of these checks holds; else without them, and it is said why.

| check | asks |
|---|---|
| `evidence` | are there enough persons, with the outcome and without it, for a verdict? |
| `relations of real rows` | do the real rows keep the clinical relations that the recipe declares? |
| `rows` | is any sampled row new, and inside the stratum and the constraints? |
| `near copies` | do the rows lie no nearer to real rows than other persons do? |
| `likeness` | do the scores (SDMetrics) reach the recipe's? |
| `relations` | do the rows keep the relations as well as the real ones do? |
| `lift` | is a model better with them than the best one on real rows alone? |
| `column-permuted` | is it better with them than with the same rows, each column shuffled by itself? |
| `calibration` | are its risks no worse than the best real-only model's? |
| `no harm elsewhere` | does it lose nothing in the other area? |

They are asked in four stages, cheap ones first; where a stage refuses, the next is not computed, since it could not
change the verdict. docs/augmentation.md gives the reasons and what was tried.
"""

from synthetic.proof.checks import holding
from synthetic.proof.finding import Finding, verdict
from synthetic.proof.question import Proof, Question, not_proved, prove
from synthetic.proof.trial import Sampler

__all__ = ["Finding", "Proof", "Question", "Sampler", "holding", "not_proved", "prove", "verdict"]
