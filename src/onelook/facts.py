"""The type of what is written as JSON: figures, records and configurations by name.

python -c "from onelook.facts import Facts; print(Facts)"
"""

from typing import Any

Facts = dict[str, Any]
