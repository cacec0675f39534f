/* The arithmetic of diffusion, for one type of number: included by _rows.h, called from _kernel.pyx.

   REAL is float or double, FACE the type of the face coefficients (uint16_t for float: multiples of a quantum), NAMED(x)
   adds the type to a name. The loops are written so that a compiler vectorizes them without -ffast-math. On x86-64 the
   rows are compiled for several instruction sets and chosen when the program starts (WIDE), so that a wheel for any CPU
   uses the CPU it finds. */

/* A row of a stage. `n` is a number of whole blocks: beyond the domain, coefficients and densities are 0 and stay 0, so
   the loop needs no remainder. KIND says which terms there are and where Y_{j-2} is: 1 the first stage, 2 the second (in
   `q`), 3 a later one (in `out`), 4 the last one (in `q`; the density is in `out`), 5 the last of two (in `out`, which
   is the density). */
#define ROW(NAME, KIND)                                                                                               \
    WIDE static void NAMED(NAME)(ptrdiff_t n, ptrdiff_t sz, ptrdiff_t sy, const REAL *restrict p,                     \
        const REAL *restrict q, REAL *restrict out, const FACE *restrict fz, const FACE *restrict fy,                 \
        const FACE *restrict fx, REAL b, REAL ez, REAL ey, REAL ex, REAL share, REAL growth, REAL crowding)           \
    {                                                                                                                 \
        n = n / BLOCK * BLOCK;                                                                                        \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                           \
            const REAL c = p[i];                                                                                      \
            REAL v = ez * ((p[i - sz] - c) * fz[i - sz] + (p[i + sz] - c) * fz[i])                                    \
                   + ey * ((p[i - sy] - c) * fy[i - sy] + (p[i + sy] - c) * fy[i])                                    \
                   + ex * ((p[i - 1] - c) * fx[i - 1] + (p[i + 1] - c) * fx[i]);                                      \
            if (KIND > 1) v += b * (c - (KIND % 2 ? out : q)[i]);                                                     \
            if (KIND < 4) v += c;                                                                                     \
            else {                                                                                                    \
                v = out[i] + share * ((c - out[i]) + v);                                                              \
                v = growth * v / (1 + crowding * v);                                                                  \
            }                                                                                                         \
            out[i] = v;                                                                                               \
        }                                                                                                             \
    }

ROW(first, 1)
ROW(second, 2)
ROW(middle, 3)
ROW(last, 4)
ROW(last_of_two, 5)

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

typedef struct {
    REAL *u, *odd, *even;                /* the density, and what odd and even stages write */
    const FACE *fz, *fy, *fx;            /* the coefficient of the face above each voxel; 0 at the box's edge */
    double unit_z, unit_y, unit_x;       /* of the coefficients, times the step's length */
    const int *lo, *hi;                  /* each row's first voxel in the domain and the one after its last */
    ptrdiff_t ny, nx, z0, z1, y0, y1, x0, x1; /* shape of the arrays and the swept box */
} NAMED(Field);

/* Rows [from, to) of plane z in stage j of `stages`: Y_j = Y_{j-1} + b (Y_{j-1} - Y_{j-2}) + e div(D grad Y_{j-1}),
   with b and e from `coefficients`. The last stage instead leaves u + share (Y_j - u), followed by the flow of growth,
   in u. Returns the smaller of `low` and the lowest value that is left in u. */
static double NAMED(plane)(const NAMED(Field) *f, int j, int stages, ptrdiff_t z, ptrdiff_t from, ptrdiff_t to,
                           const double *coefficients, double share, double growth, double crowding, double low)
{
    const ptrdiff_t sy = f->nx, sz = f->nx * f->ny;
    const REAL *p = j == 1 ? f->u : j % 2 ? f->even : f->odd;
    const REAL *q = j <= 2 ? f->u : j % 2 ? f->odd : f->even;
    REAL *out = j == stages && j > 1 ? f->u : j % 2 ? f->odd : f->even;
    const REAL b = (REAL)coefficients[2 * j - 2];
    const REAL ez = (REAL)(coefficients[2 * j - 1] * f->unit_z), ey = (REAL)(coefficients[2 * j - 1] * f->unit_y);
    const REAL ex = (REAL)(coefficients[2 * j - 1] * f->unit_x);
    for (ptrdiff_t y = from; y < to; y++) {
        const ptrdiff_t lo = f->lo[z * f->ny + y], hi = f->hi[z * f->ny + y];
        ptrdiff_t begin = lo > f->x0 ? lo : f->x0, end = hi < f->x1 ? hi : f->x1;
        if (begin >= end) continue;
        begin = begin / BLOCK * BLOCK; /* rows are whole blocks, and aligned */
        end = (end + BLOCK - 1) / BLOCK * BLOCK;
        const ptrdiff_t i = z * sz + y * sy + begin;
#define ARGUMENTS end - begin, sz, sy, p + i, q + i, out + i, f->fz + i, f->fy + i, f->fx + i, b, ez, ey, ex,           \
                  (REAL)share, (REAL)growth, (REAL)crowding
        if (j == 1) NAMED(first)(ARGUMENTS);
        else if (j < stages && j == 2) NAMED(second)(ARGUMENTS);
        else if (j < stages) NAMED(middle)(ARGUMENTS);
        else {
            if (stages == 2) NAMED(last_of_two)(ARGUMENTS);
            else NAMED(last)(ARGUMENTS);
            low = NAMED(lowest)(end - begin, f->u + i, low);
        }
#undef ARGUMENTS
    }
    return low;
}

/* All stages of a step, as a wave: plane z of a stage follows plane z + 1 of the stage before, in strips of rows, so
   that what one stage wrote is still in the cache for the next. Stage j does the planes from begin + (j - 1) grow_begin
   to end + (j - 1) grow_end: threads do shrinking parts first, then what is left between them. Three arrays are enough:
   what a stage writes over, no later plane needs. */
static double NAMED(wave)(const NAMED(Field) *f, int stages, ptrdiff_t begin, ptrdiff_t end, int grow_begin,
                          int grow_end, ptrdiff_t strip, const double *coefficients, double share, double growth,
                          double crowding)
{
    double low = 0;
    const ptrdiff_t first = begin + (grow_begin < 0 ? grow_begin * (stages - 1) : 0);
    const ptrdiff_t after = end + (grow_end > 0 ? grow_end * (stages - 1) : 0);
    for (ptrdiff_t y = f->y0; y < f->y1 + stages - 1; y += strip)
        for (ptrdiff_t wave = first; wave < after + stages - 1; wave++)
            for (int j = 1; j <= stages; j++) {
                const ptrdiff_t z = wave - (j - 1);
                if (z < begin + (j - 1) * grow_begin || z >= end + (j - 1) * grow_end) continue;
                ptrdiff_t from = y - (j - 1), to = y + strip - (j - 1);
                if (from < f->y0) from = f->y0;
                if (to > f->y1) to = f->y1;
                if (from < to)
                    low = NAMED(plane)(f, j, stages, z, from, to, coefficients, share, growth, crowding, low);
            }
    return low;
}

/* u -> growth u / (1 + crowding u) */
WIDE static void NAMED(moebius)(ptrdiff_t n, REAL *u, REAL growth, REAL crowding)
{
    for (ptrdiff_t i = 0; i < n; i++) u[i] = growth * u[i] / (1 + crowding * u[i]);
}

/* The same with numbers of each voxel's own: `place` is 256 times where in the tables they are. */
static void NAMED(moebius_by)(ptrdiff_t n, REAL *u, const uint16_t *place, const REAL *growth, const REAL *crowding)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const int k = place[i] >> 8;
        const REAL share = (REAL)(place[i] & 255) / 256;
        const REAL g = growth[k] + share * (growth[k + 1] - growth[k]);
        const REAL c = crowding[k] + share * (crowding[k + 1] - crowding[k]);
        u[i] = g * u[i] / (1 + c * u[i]);
    }
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

#undef ROW
