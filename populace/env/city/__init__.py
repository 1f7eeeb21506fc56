"""A city: places with kinds, seats and opening hours, trips between them, hazards over space and time. Pure.

`places` holds places in columns, `grid` generates them, `choosing` chooses among them (nearest, gravity), `seats`
gives out what is scarce, `present` finds who is where, `hazard` has fields of wind or water, `zone` the zones of
evacuation orders, `calendar` the days, `going` reads what agents ask of `go`, `trips` carries them out, `looking`
shows and answers, and `part` is the part of the world.
"""
