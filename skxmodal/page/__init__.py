"""The page that ``skxmodal serve`` shows in a browser."""
