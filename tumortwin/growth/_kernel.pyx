"""Sweeps over the active box: RKL2 stages, pointwise flows and sums. Python callers validate; see stepper.py.

Arrays are (z, y, x) with a margin of one voxel of zeros on every side. `lo` and `hi` are each row's first voxel in the
domain and the one after its last. A call does the part of the box (z0, z1, y0, y1, x0, x1) that it is given, so threads
share a sweep by planes. The GIL is released, denormals are flushed, nothing is allocated.
"""

from libc.math cimport exp, fmin, log

ctypedef fused real:
    float
    double

cdef extern from "_rows.h" nogil:
    unsigned long long flush_denormals()
    void restore_denormals(unsigned long long before)
    void stage_float(int, int, Py_ssize_t, Py_ssize_t, int, int, Py_ssize_t, Py_ssize_t, const float *, const float *,
                     const float *, const float *, float *, const float *, const float *, const float *, const float *,
                     const float *, float, float, float, float, float, float)
    void stage_double(int, int, Py_ssize_t, Py_ssize_t, int, int, Py_ssize_t, Py_ssize_t, const double *,
                      const double *, const double *, const double *, double *, const double *, const double *,
                      const double *, const double *, const double *, double, double, double, double, double, double)
    void moebius_float(Py_ssize_t, float *, float, float)
    void moebius_double(Py_ssize_t, double *, double, double)
    double lowest_float(Py_ssize_t, const float *, double)
    double lowest_double(Py_ssize_t, const double *, double)
    void squares_float(Py_ssize_t, const float *, const float *, double *, double *)
    void squares_double(Py_ssize_t, const double *, const double *, double *, double *)


def faces(const double[:, :, ::1] relative, double hz, double hy, double hx, real[:, :, ::1] fz, real[:, :, ::1] fy,
          real[:, :, ::1] fx):
    """Fill the harmonic-mean face coefficients, in units of `relative` / mm^2; return the largest sum at a voxel."""
    cdef Py_ssize_t z, y, x
    cdef double largest = 0, total
    with nogil:
        for z in range(relative.shape[0] - 1):
            for y in range(relative.shape[1] - 1):
                for x in range(relative.shape[2] - 1):
                    fz[z, y, x] = <real>(harmonic(relative[z, y, x], relative[z + 1, y, x]) / (hz * hz))
                    fy[z, y, x] = <real>(harmonic(relative[z, y, x], relative[z, y + 1, x]) / (hy * hy))
                    fx[z, y, x] = <real>(harmonic(relative[z, y, x], relative[z, y, x + 1]) / (hx * hx))
                    if relative[z, y, x] > 0:
                        total = (<double>fz[z, y, x] + fz[z - 1, y, x] + fy[z, y, x] + fy[z, y - 1, x]
                                 + fx[z, y, x] + fx[z, y, x - 1])
                        if total > largest:
                            largest = total
    return largest


cdef inline double harmonic(double a, double b) noexcept nogil:
    return 2 * a * b / (a + b) if a > 0 and b > 0 else 0


def stage(int kind, bint last, real[:, :, ::1] p, real[:, :, ::1] q, real[:, :, ::1] y0, real[:, :, ::1] y1,
          real[:, :, ::1] out, real[:, :, ::1] fz, real[:, :, ::1] fy, real[:, :, ::1] fx, const int[:, ::1] lo,
          const int[:, ::1] hi, const real[::1] wall, box, Py_ssize_t z_from, Py_ssize_t z_to, double a, double b,
          double d, double e, double growth, double crowding):
    """out = y0 + a (p - y0) + b (q - y0) + d (y1 - y0) + e div(D grad p), then the flow of growth if `last`.

    `out` may be `q` or `y0`, not `p`. `wall` is a row of zeros: the coefficients of faces at the box's edge.
    """
    cdef Py_ssize_t z0, z1, first_y, end_y, x0, x1, z, y, row, begin, end
    z0, z1, first_y, end_y, x0, x1 = box
    cdef Py_ssize_t sz = p.shape[1] * p.shape[2], sy = p.shape[2]
    cdef real *pp = &p[0, 0, 0]
    cdef real *pq = &q[0, 0, 0]
    cdef real *py0 = &y0[0, 0, 0]
    cdef real *py1 = &y1[0, 0, 0]
    cdef real *pout = &out[0, 0, 0]
    cdef real *pfz = &fz[0, 0, 0]
    cdef real *pfy = &fy[0, 0, 0]
    cdef real *pfx = &fx[0, 0, 0]
    cdef const real *shut = &wall[0]
    cdef const real *fzl
    cdef const real *fzu
    cdef const real *fyl
    cdef const real *fyu
    cdef bint shut_left, shut_right
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        for z in range(z_from, z_to):
            for y in range(first_y, end_y):
                begin, end = lo[z, y], hi[z, y]
                shut_left, shut_right = begin < x0, end > x1
                if shut_left:
                    begin = x0
                if shut_right:
                    end = x1
                if begin >= end:
                    continue
                row = z * sz + y * sy
                fzl = shut if z == z0 else pfz + row - sz
                fzu = shut if z == z1 - 1 else pfz + row
                fyl = shut if y == first_y else pfy + row - sy
                fyu = shut if y == end_y - 1 else pfy + row
                if real is float:
                    stage_float(kind, last, begin, end, shut_left, shut_right, sz, sy, pp + row, pq + row, py0 + row,
                                py1 + row, pout + row, fzl, fzu, fyl, fyu, pfx + row, <float>a, <float>b, <float>d,
                                <float>e, <float>growth, <float>crowding)
                else:
                    stage_double(kind, last, begin, end, shut_left, shut_right, sz, sy, pp + row, pq + row, py0 + row,
                                 py1 + row, pout + row, fzl, fzu, fyl, fyu, pfx + row, a, b, d, e, growth, crowding)
        restore_denormals(before)


def moebius(real[:, :, ::1] u, const int[:, ::1] lo, const int[:, ::1] hi, box, Py_ssize_t z_from, Py_ssize_t z_to,
            double growth, double crowding):
    """u <- growth u / (1 + crowding u)"""
    cdef Py_ssize_t y0, y1, x0, x1, z, y, begin, end
    _, _, y0, y1, x0, x1 = box
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        for z in range(z_from, z_to):
            for y in range(y0, y1):
                begin, end = max(x0, lo[z, y]), min(x1, hi[z, y])
                if begin < end:
                    if real is float:
                        moebius_float(end - begin, &u[z, y, begin], <float>growth, <float>crowding)
                    else:
                        moebius_double(end - begin, &u[z, y, begin], growth, crowding)
        restore_denormals(before)


def power(real[:, :, ::1] u, const int[:, ::1] lo, const int[:, ::1] hi, box, Py_ssize_t z_from, Py_ssize_t z_to,
          double linear, double factor, double exponent):
    """u <- min(linear u, factor u^exponent), and linear u where u <= 0"""
    cdef Py_ssize_t y0, y1, x0, x1, z, y, x
    _, _, y0, y1, x0, x1 = box
    cdef double v
    cdef unsigned long long before
    with nogil:
        before = flush_denormals()
        for z in range(z_from, z_to):
            for y in range(y0, y1):
                for x in range(max(x0, lo[z, y]), min(x1, hi[z, y])):
                    v = u[z, y, x]
                    u[z, y, x] = <real>(fmin(linear * v, factor * exp(exponent * log(v))) if v > 0 else linear * v)
        restore_denormals(before)


def lowest(const real[:, :, ::1] u, const int[:, ::1] lo, const int[:, ::1] hi, box):
    """Smallest of the box's values and 0."""
    cdef Py_ssize_t z0, z1, y0, y1, x0, x1, z, y, begin, end
    z0, z1, y0, y1, x0, x1 = box
    cdef double low = 0
    with nogil:
        for z in range(z0, z1):
            for y in range(y0, y1):
                begin, end = max(x0, lo[z, y]), min(x1, hi[z, y])
                if begin < end:
                    if real is float:
                        low = lowest_float(end - begin, &u[z, y, begin], low)
                    else:
                        low = lowest_double(end - begin, &u[z, y, begin], low)
    return low


def squares(const real[:, :, ::1] u, const real[:, :, ::1] v, const int[:, ::1] lo, const int[:, ::1] hi, box):
    """Sums of (u - v)^2 and of u^2 over the box, in double precision."""
    cdef Py_ssize_t z0, z1, y0, y1, x0, x1, z, y, begin, end
    z0, z1, y0, y1, x0, x1 = box
    cdef double change = 0, size = 0
    with nogil:
        for z in range(z0, z1):
            for y in range(y0, y1):
                begin, end = max(x0, lo[z, y]), min(x1, hi[z, y])
                if begin < end:
                    if real is float:
                        squares_float(end - begin, &u[z, y, begin], &v[z, y, begin], &change, &size)
                    else:
                        squares_double(end - begin, &u[z, y, begin], &v[z, y, begin], &change, &size)
    return change, size
