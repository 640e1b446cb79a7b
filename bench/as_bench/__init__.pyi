from epochbench import *
from epochbench import __version__ as __version__
