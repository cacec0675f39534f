/* _columns_row.h for float and double. */
#ifndef TUMORTWIN_COLUMNS_H
#define TUMORTWIN_COLUMNS_H

#include <math.h>

#include "_rows.h"

#define REAL float
#define NAMED(x) x##_float
#include "_columns_row.h"
#undef REAL
#undef NAMED

#define REAL double
#define NAMED(x) x##_double
#include "_columns_row.h"
#undef REAL
#undef NAMED

#endif
