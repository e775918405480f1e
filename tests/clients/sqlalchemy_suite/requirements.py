"""What SQL Server can and cannot do, in the words of SQLAlchemy's dialect suite.

As SQLAlchemy's own tests have them for ``mssql`` (its ``test/requirements.py``): ``SUPPORTED`` are those
whose default is "no", ``UNSUPPORTED`` those whose default is "yes", ``REFUSED`` those that SQL Server must
answer with an error, which the suite then demands.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

SUPPORTED = (
    "autocommit",
    "comment_reflection",
    "comment_reflection_full_unicode",
    "computed_columns",
    "computed_columns_reflect_persisted",
    "computed_columns_stored",
    "computed_columns_virtual",
    "create_table_as",
    "create_temp_table_as",
    "cross_schema_fk_reflection",
    "ctes",
    "ctes_with_update_delete",
    "datetime_literals",
    "delete_from",
    "emulated_lastrowid",
    "except_",
    "expression_server_defaults",
    "fetch_expression",
    "fetch_first",
    "fetch_percent",
    "fetch_ties",
    "fk_constraint_option_reflection_ondelete_noaction",
    "float_or_double_precision_behaves_generically",
    "foreign_key_constraint_name_reflection",
    "foreign_key_constraint_option_reflection_ondelete",
    "foreign_key_constraint_option_reflection_onupdate",
    "has_temp_table",
    "identity_columns",
    "index_reflects_included_columns",
    "intersect",
    "isolation_level",
    "json_type",
    "json_array_indexes",
    "mod_operator_as_percent_sign",
    "nvarchar_types",
    "percent_schema_names",
    "precision_numerics_enotation_small",
    "precision_numerics_many_significant_digits",
    "precision_numerics_retains_significant_digits",
    "reflects_pk_names",
    "savepoints",
    "schema_create_delete",
    "schemas",
    "server_defaults",
    "supports_bitwise_and",
    "supports_bitwise_not",
    "supports_bitwise_or",
    "supports_bitwise_xor",
    "supports_is_distinct_from",
    "table_value_constructor",
    "unicode_ddl",
    "unique_constraints_reflect_as_index",
    "update_from",
    "view_column_reflection",
    "view_reflection",
    "views",
    "window_functions",
)

UNSUPPORTED = (
    "binary_comparisons",
    "binary_literals",
    "datetime_microseconds",
    "fetch_null_from_numeric",
    "nested_aggregates",
    "recursive_fk_cascade",
    "temp_table_reflect_indexes",
    "time_microseconds",
    "date_coerces_from_datetime",
    "unique_constraint_reflection",
)

REFUSED = (
    "order_by_col_from_union",
    "order_by_label_with_expression",
    "unicode_data_no_special_types",
)

SKIPPED_WITH: dict[str, list[str]] = {
    # the driver lacks it, whatever the server does
    "pymssql": ["arraysize", "datetime_implicit_bound", "unicode_ddl", "non_broken_binary"],
}


class Requirements(SuiteRequirements):  # type: ignore[misc]
    """SQLAlchemy's requirements for SQL Server; the suite looks each up as an attribute."""

    def get_order_by_collation(self, config: Any) -> str:
        return "Latin1_General_CI_AS"

    def get_isolation_levels(self, config: Any) -> dict[str, Any]:
        levels = config.db.dialect.get_isolation_level_values(None)
        return {"default": "READ COMMITTED", "supported": levels}


def _answer(name: str, make: Any) -> property:
    def get(self: Requirements) -> Any:
        for driver, names in SKIPPED_WITH.items():
            if name in names:
                return make() + exclusions.skip_if(f"mssql+{driver}")
        return make()

    return property(get)


for _name in SUPPORTED:
    setattr(Requirements, _name, _answer(_name, exclusions.open))
for _name in UNSUPPORTED:
    setattr(Requirements, _name, _answer(_name, exclusions.closed))
for _name in REFUSED:
    setattr(Requirements, _name, _answer(_name, exclusions.fails))
for _names in SKIPPED_WITH.values():
    for _name in _names:
        if _name not in SUPPORTED:
            setattr(Requirements, _name, _answer(_name, exclusions.open))
