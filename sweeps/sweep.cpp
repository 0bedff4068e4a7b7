#include "sweeps/sweep.h"
