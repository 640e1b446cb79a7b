from epochbench.training import *
