/* The arithmetic of one row of voxels, for one type of number: _kernel.pyx includes it through _rows.h.

   REAL is float or double, NAMED(x) adds the type to a name. The loops are written so that a compiler vectorizes them
   without -ffast-math. On x86-64 each function is compiled for several instruction sets and chosen when the program
   starts (WIDE), so that a wheel for any CPU uses the CPU it finds. */

/* Diffusion into voxel i: the sum over its faces of coefficient times difference. */
static inline REAL NAMED(into)(const REAL *p, ptrdiff_t i, ptrdiff_t sz, ptrdiff_t sy, const REAL *fzl, const REAL *fzu,
                               const REAL *fyl, const REAL *fyu, REAL left, REAL right)
{
    const REAL c = p[i];
    return ((p[i - sz] - c) * fzl[i] + (p[i + sz] - c) * fzu[i])
         + ((p[i - sy] - c) * fyl[i] + (p[i + sy] - c) * fyu[i])
         + ((p[i - 1] - c) * left + (p[i + 1] - c) * right);
}

/* Voxel i of an RKL2 stage. `kind` says which terms there are: 1 the first stage, 2 the second, 3 the others. */
#define VOXEL(left, right)                                                                                            \
    do {                                                                                                              \
        const REAL flow = NAMED(into)(p, i, sz, sy, fzl, fzu, fyl, fyu, left, right);                                 \
        const REAL y = y0[i];                                                                                         \
        REAL v = y + e * flow;                                                                                        \
        if (kind > 1) v += a * (p[i] - y);                                                                            \
        if (kind > 2) v += b * (q[i] - y) + d * (y1[i] - y);                                                          \
        if (last) v = growth * v / (1 + crowding * v);                                                                \
        out[i] = v;                                                                                                   \
    } while (0)

/* Voxels begin <= i < end of a row. `out` may be `q` or `y0`. Faces that are the box's edge let nothing through. */
static inline __attribute__((always_inline)) void NAMED(row)(
    const int kind, const int last, ptrdiff_t begin, ptrdiff_t end, int shut_left, int shut_right, ptrdiff_t sz,
    ptrdiff_t sy, const REAL *p, const REAL *q, const REAL *y0, const REAL *y1, REAL *out, const REAL *fzl,
    const REAL *fzu, const REAL *fyl, const REAL *fyu, const REAL *fx, REAL a, REAL b, REAL d, REAL e, REAL growth,
    REAL crowding)
{
    ptrdiff_t i;
    if (begin >= end) return;
    if (shut_left) {
        i = begin++;
        VOXEL(0, (shut_right && begin == end) ? 0 : fx[i]);
        if (begin == end) return;
    }
    if (shut_right) {
        i = --end;
        VOXEL(fx[i - 1], 0);
    }
    IVDEP
    for (i = begin; i < end; i++) VOXEL(fx[i - 1], fx[i]);
}

#define ROW(NAME, KIND, LAST)                                                                                         \
    WIDE static void NAMED(NAME)(ptrdiff_t begin, ptrdiff_t end, int shut_left, int shut_right, ptrdiff_t sz,         \
        ptrdiff_t sy, const REAL *p, const REAL *q, const REAL *y0, const REAL *y1, REAL *out, const REAL *fzl,       \
        const REAL *fzu, const REAL *fyl, const REAL *fyu, const REAL *fx, REAL a, REAL b, REAL d, REAL e,            \
        REAL growth, REAL crowding)                                                                                   \
    {                                                                                                                 \
        NAMED(row)(KIND, LAST, begin, end, shut_left, shut_right, sz, sy, p, q, y0, y1, out, fzl, fzu, fyl, fyu, fx,  \
                   a, b, d, e, growth, crowding);                                                                     \
    }

ROW(first, 1, 0)
ROW(second, 2, 0)
ROW(second_last, 2, 1)
ROW(other, 3, 0)
ROW(other_last, 3, 1)

#define ARGUMENTS begin, end, shut_left, shut_right, sz, sy, p, q, y0, y1, out, fzl, fzu, fyl, fyu, fx, a, b, d, e,     \
                  growth, crowding
static inline void NAMED(stage)(int kind, int last, ptrdiff_t begin, ptrdiff_t end, int shut_left, int shut_right,
                                ptrdiff_t sz, ptrdiff_t sy, const REAL *p, const REAL *q, const REAL *y0, const REAL *y1,
                                REAL *out, const REAL *fzl, const REAL *fzu, const REAL *fyl, const REAL *fyu,
                                const REAL *fx, REAL a, REAL b, REAL d, REAL e, REAL growth, REAL crowding)
{
    if (kind == 1) NAMED(first)(ARGUMENTS);
    else if (kind == 2 && last) NAMED(second_last)(ARGUMENTS);
    else if (kind == 2) NAMED(second)(ARGUMENTS);
    else if (last) NAMED(other_last)(ARGUMENTS);
    else NAMED(other)(ARGUMENTS);
}

/* u -> growth u / (1 + crowding u) */
WIDE static void NAMED(moebius)(ptrdiff_t n, REAL *u, REAL growth, REAL crowding)
{
    for (ptrdiff_t i = 0; i < n; i++) u[i] = growth * u[i] / (1 + crowding * u[i]);
}

/* The smaller of `low` and the row's lowest value. Rows without negative values, nearly all, take the quick way. */
WIDE static double NAMED(lowest)(ptrdiff_t n, const REAL *u, double low)
{
    int negative = 0;
    for (ptrdiff_t i = 0; i < n; i++) negative |= u[i] < 0;
    if (negative)
        for (ptrdiff_t i = 0; i < n; i++)
            if (u[i] < low) low = u[i];
    return low;
}

/* Add to `change` the squares of u - v, to `size` those of u. */
WIDE static void NAMED(squares)(ptrdiff_t n, const REAL *u, const REAL *v, double *change, double *size)
{
    double c[8] = {0}, s[8] = {0};
    ptrdiff_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) {
            const double x = u[i + k], y = x - v[i + k];
            c[k] += y * y;
            s[k] += x * x;
        }
    for (; i < n; i++) {
        const double x = u[i], y = x - v[i];
        c[0] += y * y;
        s[0] += x * x;
    }
    for (int k = 0; k < 8; k++) {
        *change += c[k];
        *size += s[k];
    }
}

#undef VOXEL
#undef ROW
#undef ARGUMENTS
