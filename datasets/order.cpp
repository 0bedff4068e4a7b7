#include "datasets/order.h"
