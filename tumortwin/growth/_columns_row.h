/* One row of voxels of a density and of its derivatives ("columns"), for one type of number: _columns.h includes it.

   Column 0 is the density, the others are derivatives; `sc` is the distance from one column to the next. All columns of
   a row lie side by side and are done before the next row, so that what they share (face coefficients, the density's own
   flow) is read from memory once. Faces have one column: strides `fsz` and `fsy`. Those of the active box's edge hold 0. */

/* always inlined: a loop with a call in it is not vectorized */
static inline __attribute__((always_inline)) REAL NAMED(net)(
    const REAL *p, ptrdiff_t i, ptrdiff_t sz, ptrdiff_t sy, ptrdiff_t fsz, ptrdiff_t fsy, const REAL *fz,
    const REAL *fy, const REAL *fx)
{
    const REAL c = p[i];
    return ((p[i - sz] - c) * fz[i - fsz] + (p[i + sz] - c) * fz[i])
         + ((p[i - sy] - c) * fy[i - fsy] + (p[i + sy] - c) * fy[i])
         + ((p[i - 1] - c) * fx[i - 1] + (p[i + 1] - c) * fx[i]);
}

/* Y_j = Y_{j-1} + b (Y_{j-1} - Y_{j-2}) + e flow(Y_{j-1}) from `p` to `out`, and of a derivative also pull[0]
   flow(density) + pull[1] flow(density through changed faces). `kind` says where Y_{j-2} is: 1 the first stage, 2 the
   second (in `q`), 3 a later one (in `out`), 4 the last one (in `q`), 5 the last of two (in `out`). The last one leaves
   u + share (Y_s - u) in `out`, which is u. */
#define COLUMN(EXTRA)                                                                                                 \
    IVDEP                                                                                                             \
    for (ptrdiff_t i = 0; i < n; i++) {                                                                               \
        const REAL c = p[i], f = NAMED(net)(p, i, sz, sy, fsz, fsy, fz, fy, fx);                                      \
        REAL v = e * f;                                                                                               \
        EXTRA;                                                                                                        \
        if (kind > 1) v += b * (c - (kind % 2 ? out : q)[i]);                                                         \
        out[i] = kind < 4 ? c + v : out[i] + share * ((c - out[i]) + v);                                              \
    }

static inline __attribute__((always_inline)) void NAMED(columns)(
    const int kind, int columns, ptrdiff_t n, ptrdiff_t sc, ptrdiff_t sz, ptrdiff_t sy, ptrdiff_t fsz, ptrdiff_t fsy,
    const REAL *p, const REAL *q, REAL *out, const REAL *fz, const REAL *fy, const REAL *fx, int changing,
    const REAL *gz, const REAL *gy, const REAL *gx, REAL b, REAL e, REAL share, const REAL *pull, REAL *flow,
    REAL *changed)
{
    if (changing)
        for (ptrdiff_t i = 0; i < n; i++) changed[i] = NAMED(net)(p, i, sz, sy, fsz, fsy, gz, gy, gx);
    COLUMN(flow[i] = f)
    for (int k = 1; k < columns; k++) {
        const REAL own = pull[2 * k], other = pull[2 * k + 1];
        p += sc, q += sc, out += sc;
        if (other != 0) COLUMN(v += own * flow[i] + other * changed[i])
        else if (own != 0) COLUMN(v += own * flow[i])
        else COLUMN()
    }
}

WIDE static void NAMED(stage_columns)(
    int kind, int columns, ptrdiff_t n, ptrdiff_t sc, ptrdiff_t sz, ptrdiff_t sy, ptrdiff_t fsz, ptrdiff_t fsy,
    const REAL *p, const REAL *q, REAL *out, const REAL *fz, const REAL *fy, const REAL *fx, int changing,
    const REAL *gz, const REAL *gy, const REAL *gx, REAL b, REAL e, REAL share, const REAL *pull, REAL *flow,
    REAL *changed)
{
    n = n / BLOCK * BLOCK;
#define ARGUMENTS columns, n, sc, sz, sy, fsz, fsy, p, q, out, fz, fy, fx, changing, gz, gy, gx, b, e, share, pull,    \
                  flow, changed
    if (kind == 1) NAMED(columns)(1, ARGUMENTS);
    else if (kind == 2) NAMED(columns)(2, ARGUMENTS);
    else if (kind == 3) NAMED(columns)(3, ARGUMENTS);
    else if (kind == 4) NAMED(columns)(4, ARGUMENTS);
    else NAMED(columns)(5, ARGUMENTS);
#undef ARGUMENTS
}

/* Derivatives after a pointwise map: w <- slope w + push[0] x + push[1] y + push[2] z, with the map's slope at the
   density and its derivatives by three of its own numbers, x, y and z. */
static inline __attribute__((always_inline)) void NAMED(pushed)(
    int columns, ptrdiff_t n, ptrdiff_t sc, REAL *w, const REAL *push, const REAL *slope, const REAL *x, const REAL *y,
    const REAL *z)
{
    for (int k = 1; k < columns; k++) {
        const REAL s = push[3 * k], t = push[3 * k + 1], r = push[3 * k + 2];
        w += sc;
        if (r != 0)
            IVDEP
            for (ptrdiff_t i = 0; i < n; i++) w[i] = slope[i] * w[i] + s * x[i] + t * y[i] + r * z[i];
        else if (s != 0 || t != 0)
            IVDEP
            for (ptrdiff_t i = 0; i < n; i++) w[i] = slope[i] * w[i] + s * x[i] + t * y[i];
        else
            IVDEP
            for (ptrdiff_t i = 0; i < n; i++) w[i] *= slope[i];
    }
}

/* u -> growth u / (1 + crowding u) */
WIDE static void NAMED(moebius_columns)(int columns, ptrdiff_t n, ptrdiff_t sc, REAL *u, REAL growth, REAL crowding,
                                        const REAL *push, REAL *slope, REAL *x, REAL *y)
{
    n = n / BLOCK * BLOCK;
    IVDEP
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL v = u[i], r = 1 / (1 + crowding * v);
        slope[i] = growth * r * r;
        x[i] = v * r * r;
        y[i] = v * v * r * r;
        u[i] = growth * v / (1 + crowding * v);
    }
    NAMED(pushed)(columns, n, sc, u, push, slope, x, y, y);
}

/* u -> min(linear u, factor u^exponent), and linear u where u <= 0 */
static void NAMED(power_columns)(int columns, ptrdiff_t n, ptrdiff_t sc, REAL *u, double linear, double factor,
                                 double exponent, const REAL *push, REAL *slope, REAL *x, REAL *y, REAL *z)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const double v = u[i], l = v > 0 ? log(v) : 0, power = v > 0 ? factor * exp(exponent * l) : 0;
        const int grows = v > 0 && power < linear * v;
        u[i] = (REAL)(grows ? power : linear * v);
        slope[i] = (REAL)(grows ? exponent * power / v : linear);
        x[i] = (REAL)(grows ? 0 : v);
        y[i] = (REAL)(grows ? power : 0);
        z[i] = (REAL)(grows ? power * l : 0);
    }
    NAMED(pushed)(columns, n, sc, u, push, slope, x, y, z);
}

/* u -> factor u; of a derivative also + (first dose + second dose^2) factor u: what a change of radiosensitivity does */
WIDE static void NAMED(scale_columns)(int columns, ptrdiff_t n, ptrdiff_t sc, REAL *u, const REAL *factor,
                                      const REAL *dose, const REAL *push)
{
    n = n / BLOCK * BLOCK;
    REAL *w = u;
    IVDEP
    for (ptrdiff_t i = 0; i < n; i++) u[i] *= factor[i];
    for (int k = 1; k < columns; k++) {
        const REAL first = push[2 * k], second = push[2 * k + 1];
        w += sc;
        if (first != 0 || second != 0)
            IVDEP
            for (ptrdiff_t i = 0; i < n; i++) w[i] = factor[i] * w[i] + dose[i] * (first + second * dose[i]) * u[i];
        else
            IVDEP
            for (ptrdiff_t i = 0; i < n; i++) w[i] *= factor[i];
    }
}

#undef COLUMN
