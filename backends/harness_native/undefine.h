/* Ends one instance of the templates. */

#undef real
#undef bits
#undef NAME
#undef vec
#undef ivec
#undef LANES
#undef ROUND_BY
#undef LN2_HIGH
#undef LN2_LOW
#undef EXPONENT_BIAS
#undef EXPONENT_SHIFT
#undef LARGEST_EXPONENT
#undef SATURATED
#undef LAST_COEFFICIENT
#undef TAYLOR_TERMS
#undef SQUARE_ROOT
