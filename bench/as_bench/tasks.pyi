from epochbench.tasks import *
