"""What tests share: no test modules, and no fixtures but those that a conftest.py takes over.

Code that more than one test module needs is here and imported as `tests.helpers.…`; so are tricks,
models and programs that tests have processes of their own load, which get the folder that has
`tests` by `environment.environment`.
"""
