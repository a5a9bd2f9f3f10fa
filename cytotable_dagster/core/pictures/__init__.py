"""Pictures of numbers: a plate's wells in colours, features as histograms, plates of a dataset side by side.

`plate_numbers` reads what is drawn of a plate from its results, and no more than a few columns of them.
`plate_pictures` and `plates` draw with matplotlib, in colours that are told apart by everyone; `drawing` makes PNG.
"""
