"""Sweeps over the active box of a density and its derivatives together. Python callers validate; see columns.py.

Arrays are (z, y, column, x) with a margin of zeros, one voxel and at the end of rows what makes them whole blocks;
column 0 is the density, the others are derivatives. `lo` and `hi` are each row's first voxel in the domain and the one
after its last; `rows` is room for six rows. The GIL is released, denormals are flushed, nothing is allocated.
"""

from libc.math cimport exp, expm1, fabs, fmax, fmin
from libc.stdint cimport uint16_t

ctypedef fused real:
    float
    double

cdef extern from "_columns.h" nogil:
    Py_ssize_t BLOCK
    unsigned long long flush_denormals()
    void restore_denormals(unsigned long long before)
    void stage_columns_float(int, int, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
        const float *, const float *, float *, const float *, const float *, const float *, int, const float *,
        const float *, const float *, float, float, float, const float *, float *, float *)
    void stage_columns_double(int, int, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
        const double *, const double *, double *, const double *, const double *, const double *, int, const double *,
        const double *, const double *, double, double, double, const double *, double *, double *)
    void moebius_columns_float(int, Py_ssize_t, Py_ssize_t, float *, float, float, const float *, float *, float *,
                               float *)
    void moebius_columns_double(int, Py_ssize_t, Py_ssize_t, double *, double, double, const double *, double *,
                                double *, double *)
    void power_columns_float(int, Py_ssize_t, Py_ssize_t, float *, double, double, double, const float *, float *,
                             float *, float *, float *)
    void power_columns_double(int, Py_ssize_t, Py_ssize_t, double *, double, double, double, const double *, double *,
                              double *, double *, double *)
    double lowest_float(Py_ssize_t, const float *, double)
    double lowest_double(Py_ssize_t, const double *, double)
    void scale_columns_float(int, Py_ssize_t, Py_ssize_t, float *, const float *, const float *, const float *)
    void scale_columns_double(int, Py_ssize_t, Py_ssize_t, double *, const double *, const double *, const double *)


def faces(const double[:, :, ::1] relative, const double[:, :, ::1] change, double hz, double hy, double hx,
          real[:, :, ::1] fz, real[:, :, ::1] fy, real[:, :, ::1] fx, real[:, :, ::1] gz, real[:, :, ::1] gy,
          real[:, :, ::1] gx):
    """Fill the harmonic-mean face coefficients f and their derivatives g in the direction `change` of `relative`."""
    cdef Py_ssize_t z, y, x
    cdef double here, there
    with nogil:
        for z in range(relative.shape[0] - 1):
            for y in range(relative.shape[1] - 1):
                for x in range(relative.shape[2] - 1):
                    here, there = relative[z, y, x], change[z, y, x]
                    fz[z, y, x] = <real>(harmonic(here, relative[z + 1, y, x]) / (hz * hz))
                    fy[z, y, x] = <real>(harmonic(here, relative[z, y + 1, x]) / (hy * hy))
                    fx[z, y, x] = <real>(harmonic(here, relative[z, y, x + 1]) / (hx * hx))
                    gz[z, y, x] = <real>(slope(here, relative[z + 1, y, x], there, change[z + 1, y, x]) / (hz * hz))
                    gy[z, y, x] = <real>(slope(here, relative[z, y + 1, x], there, change[z, y + 1, x]) / (hy * hy))
                    gx[z, y, x] = <real>(slope(here, relative[z, y, x + 1], there, change[z, y, x + 1]) / (hx * hx))


cdef inline double harmonic(double a, double b) noexcept nogil:
    return 2 * a * b / (a + b) if a > 0 and b > 0 else 0


cdef inline double slope(double a, double b, double da, double db) noexcept nogil:
    # where neither side diffuses yet, the harmonic mean of the changes is the (one-sided) derivative
    if a + b > 0:
        return 2 * (b * b * da + a * a * db) / ((a + b) * (a + b))
    return harmonic(da, db)


def diffuse(real[:, :, :, ::1] u, real[:, :, :, ::1] odd, real[:, :, :, ::1] even, real[:, :, ::1] fz,
            real[:, :, ::1] fy, real[:, :, ::1] fx, real[:, :, ::1] gz, real[:, :, ::1] gy, real[:, :, ::1] gx,
            const int[:, ::1] lo, const int[:, ::1] hi, box, const double[:, ::1] coefficients, double step,
            double share, const real[:, :, ::1] pull, bint changing, law, const real[:, ::1] push,
            real[:, ::1] rows, Py_ssize_t strip):
    """All stages of an RKL2 step of all columns, then the pointwise map `law`: (0 none, 1 Moebius or 2 power, numbers).

    Stage j is Y_j = Y_{j-1} + b (Y_{j-1} - Y_{j-2}) + e step div(f grad Y_{j-1}) with b and e from `coefficients`, and
    of derivative k also pull[j, k, 0] div(f grad p) + pull[j, k, 1] div(g grad p), where p is column 0 of Y_{j-1}. What
    is left in u is u + share (Y_s - u). Returns the lowest density, or 0.

    The stages run as a wave over the planes in strips of rows, each one plane and one row behind the stage before it:
    what a stage has written is still in the cache when the next ones read it.
    """
    cdef Py_ssize_t z0, z1, first_y, end_y, x0, x1, front, tile, z, y, n, begin, at, face
    cdef int map, columns = <int>u.shape[2], stages = <int>coefficients.shape[0], j, kind
    cdef double growth, crowding, exponent, b, e, low = 0
    z0, z1, first_y, end_y, x0, x1 = box
    map, growth, crowding, exponent = law
    cdef Py_ssize_t sc = u.shape[3]
    cdef Py_ssize_t sy = columns * sc, sz = u.shape[1] * sy, fsy = sc, fsz = u.shape[1] * sc
    cdef real *density = &u[0, 0, 0, 0]
    cdef real *scratch[2]
    scratch[0], scratch[1] = &even[0, 0, 0, 0], &odd[0, 0, 0, 0]
    cdef real *p
    cdef real *q
    cdef real *out
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        tile = first_y
        while tile < end_y + stages - 1:
            for front in range(z0, z1 + stages - 1):
                for j in range(1, stages + 1):
                    z = front - (j - 1)
                    if z < z0 or z >= z1:
                        continue
                    p = scratch[(j - 1) % 2] if j > 1 else density
                    q = scratch[j % 2] if j > 2 else density
                    out = scratch[j % 2] if j < stages else density
                    kind = min(j, 3) if j < stages else 5 if stages == 2 else 4
                    b, e = coefficients[j - 1, 0], coefficients[j - 1, 1] * step
                    for y in range(max(tile - (j - 1), first_y), min(tile + strip - (j - 1), end_y)):
                        begin, n = blocks(max(x0, lo[z, y]), min(x1, hi[z, y]))
                        if n == 0:
                            continue
                        at, face = z * sz + y * sy + begin, z * fsz + y * fsy + begin
                        if real is float:
                            stage_columns_float(kind, columns, n, sc, sz, sy, fsz, fsy, p + at, q + at, out + at,
                                                &fz[0, 0, face], &fy[0, 0, face], &fx[0, 0, face], changing,
                                                &gz[0, 0, face], &gy[0, 0, face], &gx[0, 0, face], <float>b,
                                                <float>e, <float>share, &pull[j - 1, 0, 0], &rows[0, 0], &rows[1, 0])
                        else:
                            stage_columns_double(kind, columns, n, sc, sz, sy, fsz, fsy, p + at, q + at, out + at,
                                                 &fz[0, 0, face], &fy[0, 0, face], &fx[0, 0, face], changing,
                                                 &gz[0, 0, face], &gy[0, 0, face], &gx[0, 0, face], b, e, share,
                                                 &pull[j - 1, 0, 0], &rows[0, 0], &rows[1, 0])
                        if map and j == stages:
                            mapped(map, columns, n, sc, out + at, growth, crowding, exponent, &push[0, 0],
                                   &rows[2, 0], &rows[3, 0], &rows[4, 0], &rows[5, 0])
                        if j == stages:
                            if real is float:
                                low = lowest_float(n, out + at, low)
                            else:
                                low = lowest_double(n, out + at, low)
            tile += strip
        restore_denormals(before)
    return low


def react(real[:, :, :, ::1] u, const int[:, ::1] lo, const int[:, ::1] hi, box, law, const real[:, ::1] push,
          real[:, ::1] rows):
    """The pointwise map of column 0, and what it makes of the derivatives: slope w + push . (those by numbers)."""
    cdef Py_ssize_t z0, z1, first_y, end_y, x0, x1, z, y, begin, n
    cdef int map
    cdef double growth, crowding, exponent
    z0, z1, first_y, end_y, x0, x1 = box
    map, growth, crowding, exponent = law
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        for z in range(z0, z1):
            for y in range(first_y, end_y):
                begin, n = blocks(max(x0, lo[z, y]), min(x1, hi[z, y]))
                if n > 0:
                    mapped(map, <int>u.shape[2], n, u.shape[3], &u[z, y, 0, begin], growth, crowding,
                           exponent,
                           &push[0, 0], &rows[2, 0], &rows[3, 0], &rows[4, 0], &rows[5, 0])
        restore_denormals(before)


def scale(real[:, :, :, ::1] u, const int[:, ::1] lo, const int[:, ::1] hi, box, const real[:, :, ::1] factor,
          const real[:, :, ::1] dose, const real[:, ::1] push):
    """u <- factor u, and of derivative k also + (push[k, 0] dose + push[k, 1] dose^2) factor u of column 0."""
    cdef Py_ssize_t z0, z1, first_y, end_y, x0, x1, z, y, begin, n
    z0, z1, first_y, end_y, x0, x1 = box
    cdef int columns = <int>u.shape[2]
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        for z in range(z0, z1):
            for y in range(first_y, end_y):
                begin, n = blocks(max(x0, lo[z, y]), min(x1, hi[z, y]))
                if n > 0:
                    if real is float:
                        scale_columns_float(columns, n, u.shape[3], &u[z, y, 0, begin], &factor[z, y, begin],
                                            &dose[z, y, begin], &push[0, 0])
                    else:
                        scale_columns_double(columns, n, u.shape[3], &u[z, y, 0, begin], &factor[z, y, begin],
                                             &dose[z, y, begin], &push[0, 0])
        restore_denormals(before)


cdef inline (Py_ssize_t, Py_ssize_t) blocks(Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """The first voxel of a row's blocks that hold those from `begin` to `end`, and how many voxels they are."""
    cdef Py_ssize_t first = begin // BLOCK * BLOCK
    return first, (end - first + BLOCK - 1) // BLOCK * BLOCK if begin < end else 0


cdef inline void mapped(int map, int columns, Py_ssize_t n, Py_ssize_t sc, real *u, double growth, double crowding,
                        double exponent, const real *push, real *slope, real *x, real *y, real *z) noexcept nogil:
    if real is float:
        if map == 1:
            moebius_columns_float(columns, n, sc, u, <float>growth, <float>crowding, push, slope, x, y)
        else:
            power_columns_float(columns, n, sc, u, growth, crowding, exponent, push, slope, x, y, z)
    else:
        if map == 1:
            moebius_columns_double(columns, n, sc, u, growth, crowding, push, slope, x, y)
        else:
            power_columns_double(columns, n, sc, u, growth, crowding, exponent, push, slope, x, y, z)


def react_by(real[:, :, :, ::1] u, const int[:, ::1] lo, const int[:, ::1] hi, const uint16_t[:, :, ::1] place, box,
             const real[:, :, ::1] table, const int[::1] driven, real[:, ::1] rows):
    """The map u -> growth u / (1 + crowding u) with numbers of each voxel's own, and what it makes of the derivatives.

    `place` is 256 times where in the table a voxel is. A row of the table has growth and crowding, then their
    derivatives by the number of each column, where it is `driven`.
    """
    cdef Py_ssize_t z0, z1, y0, y1, x0, x1, z, y, x, j, k
    cdef real share, v, growth, crowding, more, tighter
    z0, z1, y0, y1, x0, x1 = box
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(max(x0, lo[z, y]), min(x1, hi[z, y])):
                    k, share = place[z, y, x] >> 8, <real>(place[z, y, x] & 255) / 256
                    growth = table[k, 0, 0] + share * (table[k + 1, 0, 0] - table[k, 0, 0])
                    crowding = table[k, 0, 1] + share * (table[k + 1, 0, 1] - table[k, 0, 1])
                    v = u[z, y, 0, x]
                    u[z, y, 0, x] = growth * v / (1 + crowding * v)
                    rows[0, x], rows[1, x], rows[2, x] = growth, crowding, v
                    rows[3, x] = v / ((1 + crowding * v) * (1 + crowding * v))
                    rows[4, x] = growth / ((1 + crowding * v) * (1 + crowding * v))
                for j in range(1, u.shape[2]):
                    for x in range(max(x0, lo[z, y]), min(x1, hi[z, y])):
                        u[z, y, j, x] *= rows[4, x]
                    if not driven[j]:
                        continue
                    for x in range(max(x0, lo[z, y]), min(x1, hi[z, y])):
                        k, share = place[z, y, x] >> 8, <real>(place[z, y, x] & 255) / 256
                        more = table[k, j, 0] + share * (table[k + 1, j, 0] - table[k, j, 0])
                        tighter = table[k, j, 1] + share * (table[k + 1, j, 1] - table[k, j, 1])
                        u[z, y, j, x] += rows[3, x] * (more + rows[2, x] * (more * rows[1, x] - rows[0, x] * tighter))
        restore_denormals(before)


def gather(real[:, :, :, ::1] v, const real[:, :, :, ::1] before, const real[:, :, :, ::1] after,
           const int[:, ::1] lo, const int[:, ::1] hi, box, const real[:, ::1] weights):
    """v <- weights[0] . (v, before, after) in each column, and of derivative k also weights[k] . column 0's."""
    cdef Py_ssize_t z0, z1, y0, y1, x0, x1, z, y, x, k
    cdef real stays = weights[0, 0], first = weights[0, 1], second = weights[0, 2]
    cdef unsigned long long denormals
    z0, z1, y0, y1, x0, x1 = box
    with nogil:
        denormals = flush_denormals()
        for z in range(z0, z1):
            for y in range(y0, y1):
                for k in range(v.shape[2] - 1, -1, -1):
                    for x in range(max(x0, lo[z, y]), min(x1, hi[z, y])):
                        v[z, y, k, x] = stays * v[z, y, k, x] + first * before[z, y, k, x] + second * after[z, y, k, x]
                    if k > 0 and (weights[k, 0] != 0 or weights[k, 1] != 0 or weights[k, 2] != 0):
                        for x in range(max(x0, lo[z, y]), min(x1, hi[z, y])):
                            v[z, y, k, x] += (weights[k, 0] * v[z, y, 0, x] + weights[k, 1] * before[z, y, 0, x]
                                              + weights[k, 2] * after[z, y, 0, x])
        restore_denormals(denormals)


# Necrosis: pointwise maps of living cells u and necrotic ones v, and their slopes: `uv` is that of the new u by the old
# v. `by` and `core` are the changes of the new u and v by the proliferation rate, the capacity, the death rate, the
# threshold, the days of growth and the log-kill after them.
cdef struct Pair:
    double u, v, uu, uv, vu, vv
    double by[6]
    double core[6]


cdef struct Tumor:
    double rate, capacity, death, threshold


# derivatives of dying by the old u and v, the death rate, the threshold and the capacity
cdef struct Dying:
    double u, v
    double by[5]
    double core[5]


cdef inline Pair dying(double u, double v, double days, const Tumor *t) noexcept nogil:
    """The midpoint rule: how dense it is half of the way decides."""
    cdef Pair p
    cdef Dying d
    cdef int j
    d.u, d.v = u, v
    for j in range(5):
        d.by[j], d.core[j] = j == 0, j == 1
    d = died(u, v, days / 2, &d, t)
    d = died(u, v, days, &d, t)
    p.u, p.v = d.u, d.v
    p.uu, p.uv, p.vu, p.vv = d.by[0], d.by[1], d.core[0], d.core[1]
    for j in range(6):
        p.by[j] = p.core[j] = 0
    p.by[1], p.by[2], p.by[3] = d.by[4], d.by[2], d.by[3]
    p.core[1], p.core[2], p.core[3] = d.core[4], d.core[2], d.core[3]
    return p


cdef inline Dying died(double u, double v, double days, const Dying *where, const Tumor *t) noexcept nogil:
    """What is left of the old u and v after some days at the stress of another state."""
    cdef Dying d
    cdef double total = (where.u + where.v) / t.capacity, open = 1 - t.threshold
    cdef double s = fmax(fmin((total - t.threshold) / open, 1), 0), share = s * s * (3 - 2 * s), steep
    cdef double survive = exp(-t.death * days * share), left = survive * u, kept = exp((left - u) / t.capacity)
    cdef double room = (t.capacity - v) * kept / t.capacity
    cdef int j
    d.u, d.v = left, t.capacity - (t.capacity - v) * kept
    for j in range(5):
        steep = (where.by[j] + where.core[j]) / t.capacity
        if j == 3:
            steep += (total - 1) / open
        elif j == 4:
            steep -= total / t.capacity
        d.by[j] = -t.death * days * left * 6 * s * (1 - s) / open * steep
    d.by[0] += survive
    d.by[2] -= days * share * left
    for j in range(5):
        d.core[j] = -room * d.by[j]
    d.core[0] += room
    d.core[1] += kept
    d.core[4] += 1 - kept + room * (left - u) / t.capacity
    return d


cdef inline Pair growing(double u, double v, double days, double survive, double empty, const Tumor *t) noexcept nogil:
    """`survive` is the share that the kill leaves, `empty` is e^x - 1 where there is no necrosis."""
    cdef Pair p
    cdef int j
    cdef double room = 1 - v / t.capacity, x = t.rate * room * days, grown = empty if v == 0 else expm1(x)
    cdef double integral = days * (grown / x if x != 0 else 1), crowding = t.rate / t.capacity * integral
    cdef double growth = survive * (1 + grown), d = 1 / (1 + crowding * u), tighter = -growth * u * u * d * d
    cdef double by_net = days * growth * u * d + t.rate / t.capacity * days * days * second(x, grown) * tighter
    p.u, p.v = growth * u * d, v
    p.uu, p.uv, p.vu, p.vv = growth * d * d, -t.rate / t.capacity * by_net, 0, 1
    p.by[0] = by_net * room + integral / t.capacity * tighter
    p.by[1] = by_net * t.rate * v / (t.capacity * t.capacity) - crowding / t.capacity * tighter
    p.by[2] = p.by[3] = 0
    p.by[4] = t.rate * room * growth * u * d + t.rate / t.capacity * (1 + grown) * tighter
    p.by[5] = -p.u
    for j in range(6):
        p.core[j] = 0
    return p


cdef inline double second(double x, double grown) noexcept nogil:
    """The derivative of (e^x - 1) / x, with `grown` = e^x - 1."""
    if fabs(x) < 1e-2:
        return 1 / 2. + x * (1 / 3. + x * (1 / 8. + x * (1 / 30. + x * (1 / 144. + x / 840))))
    return (x * (1 + grown) - grown) / (x * x)


def necrose(real[:, :, :, ::1] u, real[:, :, :, ::1] v, const int[:, ::1] lo, const int[:, ::1] hi, box, numbers,
            const double[:, ::1] steps, const double[:, :, ::1] push, const int[::1] driven):
    """A step of reaction with necrosis on column 0 of living cells u and necrotic ones v, and on the derivatives.

    `numbers` are rate, capacity, death rate and threshold. A row of `steps` is a map: 0 and days of dying, or 1, days
    of growth, the share that a kill leaves then, and e^(rate days) - 1. push[k, i] says how much the number of column
    k, where it is `driven`, changes each of the six numbers of map i.
    """
    cdef Py_ssize_t z0, z1, y0, y1, x0, x1, z, y, x, i, j, k
    cdef Pair p
    cdef Tumor t
    cdef double first, other, change, also
    z0, z1, y0, y1, x0, x1 = box
    t.rate, t.capacity, t.death, t.threshold = numbers
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(max(x0, lo[z, y]), min(x1, hi[z, y])):
                    for i in range(steps.shape[0]):
                        if not mapped_pair(u[z, y, 0, x], v[z, y, 0, x], &steps[i, 0], &t, &p):
                            continue
                        for k in range(1, u.shape[2]):
                            first, other, change, also = u[z, y, k, x], v[z, y, k, x], 0, 0
                            if driven[k]:
                                for j in range(6):
                                    change += push[k, i, j] * p.by[j]
                                    also += push[k, i, j] * p.core[j]
                            u[z, y, k, x] = <real>(p.uu * first + p.uv * other + change)
                            v[z, y, k, x] = <real>(p.vu * first + p.vv * other + also)
                        u[z, y, 0, x], v[z, y, 0, x] = <real>p.u, <real>p.v
        restore_denormals(before)


def necrose_back(const real[:, :, :, ::1] u, const real[:, :, :, ::1] v, real[:, :, :, ::1] living,
                 real[:, :, :, ::1] dead, const int[:, ::1] lo, const int[:, ::1] hi, box, numbers,
                 const double[:, ::1] steps):
    """The transpose of :func:`necrose` at column 0 of u and v, applied to the adjoints by them; at most 8 steps."""
    cdef Py_ssize_t z0, z1, y0, y1, x0, x1, z, y, x, i, n
    cdef Pair[8] pairs
    cdef Tumor t
    cdef real first, other
    cdef double by_u, by_v, here, there
    z0, z1, y0, y1, x0, x1 = box
    t.rate, t.capacity, t.death, t.threshold = numbers
    if steps.shape[0] > 8:
        raise ValueError(steps.shape[0])
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(max(x0, lo[z, y]), min(x1, hi[z, y])):
                    n, first, other = 0, u[z, y, 0, x], v[z, y, 0, x]
                    for i in range(steps.shape[0]):
                        if mapped_pair(first, other, &steps[i, 0], &t, &pairs[n]):
                            first, other = <real>pairs[n].u, <real>pairs[n].v
                            n += 1
                    by_u, by_v = living[z, y, 0, x], dead[z, y, 0, x]
                    for i in range(n - 1, -1, -1):
                        here = pairs[i].uu * by_u + pairs[i].vu * by_v
                        there = pairs[i].uv * by_u + pairs[i].vv * by_v
                        by_u, by_v = here, there
                    living[z, y, 0, x], dead[z, y, 0, x] = <real>by_u, <real>by_v
        restore_denormals(before)


cdef inline bint mapped_pair(double u, double v, const double *step, const Tumor *t, Pair *p) noexcept nogil:
    """The map of one step; False where it changes nothing."""
    if step[0] != 0:
        p[0] = growing(u, v, step[1], step[2], step[3], t)
        return True
    if (u + v) / t.capacity <= t.threshold:
        return False
    p[0] = dying(u, v, step[1], t)
    return True
