"""Sweeps over the active box: steps of diffusion, pointwise flows and sums. Python callers validate; see stepper.py.

Arrays are (z, y, x) with a margin of zeros, one voxel and at the end of rows what makes them whole blocks. `lo` and
`hi` are each row's first voxel in the domain and the one after its last. A call does the part of the box (z0, z1, y0,
y1, x0, x1) that it is given, so threads share a sweep by planes. The GIL is released, denormals are flushed, nothing is
allocated.
"""

from libc.math cimport exp, fmin, log
from libc.stdint cimport uint16_t

ctypedef fused real:
    float
    double

ctypedef fused face:
    uint16_t
    double

cdef extern from "_rows.h" nogil:
    int BLOCK_SIZE "BLOCK"
    unsigned long long flush_denormals()
    void restore_denormals(unsigned long long before)
    ctypedef struct Field_float:
        float *u
        float *odd
        float *even
        const uint16_t *fz
        const uint16_t *fy
        const uint16_t *fx
        double unit_z, unit_y, unit_x
        const int *lo
        const int *hi
        Py_ssize_t ny, nx, z0, z1, y0, y1, x0, x1
    ctypedef struct Field_double:
        double *u
        double *odd
        double *even
        const double *fz
        const double *fy
        const double *fx
        double unit_z, unit_y, unit_x
        const int *lo
        const int *hi
        Py_ssize_t ny, nx, z0, z1, y0, y1, x0, x1
    double wave_float(const Field_float *, int, Py_ssize_t, Py_ssize_t, int, int, Py_ssize_t, const double *, double,
                      double, double)
    double wave_double(const Field_double *, int, Py_ssize_t, Py_ssize_t, int, int, Py_ssize_t, const double *, double,
                       double, double)
    void moebius_float(Py_ssize_t, float *, float, float)
    void moebius_double(Py_ssize_t, double *, double, double)
    void moebius_by_float(Py_ssize_t, float *, const uint16_t *, const float *, const float *)
    void moebius_by_double(Py_ssize_t, double *, const uint16_t *, const double *, const double *)
    double lowest_float(Py_ssize_t, const float *, double)
    double lowest_double(Py_ssize_t, const double *, double)
    void squares_float(Py_ssize_t, const float *, const float *, double *, double *)
    void squares_double(Py_ssize_t, const double *, const double *, double *, double *)


BLOCK = BLOCK_SIZE


def faces(const double[:, :, ::1] relative, int axis, face[:, :, ::1] out):
    """Fill the harmonic means of each voxel and the next one along `axis`, in units that are returned.

    In 16 bits the largest mean is 65535 units.
    """
    cdef Py_ssize_t z, y, x, dz = axis == 0, dy = axis == 1, dx = axis == 2
    cdef double mean, largest = 0, unit = 1
    with nogil:
        if face is uint16_t:
            for z in range(relative.shape[0] - dz):
                for y in range(relative.shape[1] - dy):
                    for x in range(relative.shape[2] - dx):
                        mean = harmonic(relative[z, y, x], relative[z + dz, y + dy, x + dx])
                        if mean > largest:
                            largest = mean
            if largest > 0:
                unit = largest / 65535
        for z in range(relative.shape[0] - dz):
            for y in range(relative.shape[1] - dy):
                for x in range(relative.shape[2] - dx):
                    mean = harmonic(relative[z, y, x], relative[z + dz, y + dy, x + dx]) / unit
                    if face is uint16_t:
                        out[z, y, x] = <uint16_t>(mean + 0.5)
                    else:
                        out[z, y, x] = mean
    return unit


def largest_sum(face[:, :, ::1] fz, face[:, :, ::1] fy, face[:, :, ::1] fx, units):
    """The largest sum of the coefficients of a voxel's faces."""
    cdef Py_ssize_t z, y, x
    cdef double unit_z, unit_y, unit_x, largest = 0, total
    unit_z, unit_y, unit_x = units
    with nogil:
        for z in range(1, fz.shape[0]):
            for y in range(1, fz.shape[1]):
                for x in range(1, fz.shape[2]):
                    total = (unit_z * (<double>fz[z, y, x] + fz[z - 1, y, x])
                             + unit_y * (<double>fy[z, y, x] + fy[z, y - 1, x])
                             + unit_x * (<double>fx[z, y, x] + fx[z, y, x - 1]))
                    if total > largest:
                        largest = total
    return largest


cdef inline double harmonic(double a, double b) noexcept nogil:
    return 2 * a * b / (a + b) if a > 0 and b > 0 else 0


def diffuse(real[:, :, ::1] u, real[:, :, ::1] odd, real[:, :, ::1] even, face[:, :, ::1] fz, face[:, :, ::1] fy,
            face[:, :, ::1] fx, const int[:, ::1] lo, const int[:, ::1] hi, box,
            const double[:, ::1] coefficients, units, Py_ssize_t strip, Py_ssize_t z_from, Py_ssize_t z_to,
            int grow_from, int grow_to, double share, double growth, double crowding):
    """The stages of a step of diffusion on u, followed by the flow of growth; return the lowest value, or 0.

    `coefficients` has a row (b, e) for each stage; `units` are those of the face coefficients times the step's length.
    `odd` and `even` are scratch. With one stage, the result is in `odd` and there is no flow. Faces at the box's edge
    have coefficients of 0, and outside the box u is 0. Stage j does the planes from z_from + (j - 1) grow_from to
    z_to + (j - 1) grow_to.
    """
    cdef Field_float single
    cdef Field_double double_
    cdef int stages = coefficients.shape[0]
    cdef double low = 0
    cdef unsigned long long before
    if real is float and face is uint16_t:
        single.u, single.odd, single.even = &u[0, 0, 0], &odd[0, 0, 0], &even[0, 0, 0]
        single.fz, single.fy, single.fx = &fz[0, 0, 0], &fy[0, 0, 0], &fx[0, 0, 0]
        single.unit_z, single.unit_y, single.unit_x = units
        single.lo, single.hi, single.ny, single.nx = &lo[0, 0], &hi[0, 0], u.shape[1], u.shape[2]
        single.z0, single.z1, single.y0, single.y1, single.x0, single.x1 = box
        with nogil:
            before = flush_denormals()
            low = wave_float(&single, stages, z_from, z_to, grow_from, grow_to, strip, &coefficients[0, 0], share,
                             growth, crowding)
            restore_denormals(before)
    elif real is double and face is double:
        double_.u, double_.odd, double_.even = &u[0, 0, 0], &odd[0, 0, 0], &even[0, 0, 0]
        double_.fz, double_.fy, double_.fx = &fz[0, 0, 0], &fy[0, 0, 0], &fx[0, 0, 0]
        double_.unit_z, double_.unit_y, double_.unit_x = units
        double_.lo, double_.hi, double_.ny, double_.nx = &lo[0, 0], &hi[0, 0], u.shape[1], u.shape[2]
        double_.z0, double_.z1, double_.y0, double_.y1, double_.x0, double_.x1 = box
        with nogil:
            before = flush_denormals()
            low = wave_double(&double_, stages, z_from, z_to, grow_from, grow_to, strip, &coefficients[0, 0], share,
                              growth, crowding)
            restore_denormals(before)
    else:
        raise TypeError("float goes with uint16 face coefficients, double with double")
    return low


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


def moebius_by(real[:, :, ::1] u, const int[:, ::1] lo, const int[:, ::1] hi, const uint16_t[:, :, ::1] place, box,
               Py_ssize_t z_from, Py_ssize_t z_to, const real[::1] growth, const real[::1] crowding):
    """u <- growth u / (1 + crowding u), with numbers from the tables at place / 256."""
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
                        moebius_by_float(end - begin, &u[z, y, begin], &place[z, y, begin], &growth[0], &crowding[0])
                    else:
                        moebius_by_double(end - begin, &u[z, y, begin], &place[z, y, begin], &growth[0],
                                          &crowding[0])
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
