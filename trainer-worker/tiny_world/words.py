"""Words that the small world writes: three or four capitals from twelve letters, some held out."""

from typing import Final

from tiny_world.seeds import stable_order

HELD_OUT_FRACTION: Final = 0.2

_THREE: Final = """
ACE ADD AID AIR ALE ANT APE APT ARC ART ATE CAN CAP CAR CAT COD COP COT DEN DIN DIP DOT EAR EAT ICE INN ION LAP
LED LID LIP LIT LOT NAP NET NIL NIP NOD NOT OAR OAT ODD OIL OLD ONE ORE PAD PAL PAN PAT PEA PEN PET PIE PIN PIT
POD POT RAN RAT RIP ROD ROT SAD SAP SAT SEA SET SIP SIR SIT TAN TAP TAR TEA TEN TIE TIN TIP TOE TON TOP
"""
_FOUR: Final = """
ACID AIDE ALOE ALSO AREA ARID ATOP CANE CAPE CARD CARE CART CASE CAST CELL CENT CITE CLAN CLAP CLIP CLOT COAL
COAT CODE COIL COIN COLD COLT CONE COOL COPE CORD CORE CORN COST CROP DALE DARE DART DATA DATE DEAL DEAN DEAR
DENT DIAL DICE DIET DINE DIRT DISC DOLE DOLL DONE DOOR DOSE EARL EARN EAST EASE EDIT EPIC IDEA IDLE INTO IRIS
IRON ISLE LACE LAID LAIR LAND LANE LAST LATE LEAD LEAN LEAP LEND LENS LENT LESS LION LIST LOAD LOAN LONE LOOP
LORD LOSE LOSS LOST NAIL NEAR NEAT NEST NICE NINE NODE NONE NOON NOSE NOTE OATS ONCE ONTO OPEN ORAL PACE PACT
PAID PAIN PAIR PALE PALS PANE PART PASS PAST PEAR PEAT PEEL PEER PEST PILE PILL PINE PINT PLAN PLEA PLOT POET
POLE POLL POND POOL POOR PORE PORT POSE POST RACE RAID RAIL RAIN RANT RARE RATE READ REAL REAP REED REEL REST
RICE RIDE RIOT RIPE RISE ROAD ROAR ROLE ROLL ROOT ROPE ROSE SAIL SALE SALT SAND SANE SCAN SCAR SEAL SEAT SEED
SEEN SELL SEND SENT SIDE SILO SITE SLAP SLED SLID SLIP SLOT SNAP SNIP SOAP SOAR SODA SOIL SOLD SOLE SOLO SOON
SORE SORT SPAN SPIN SPOT STEP STIR STOP TACO TAIL TALE TALL TAPE TART TEAL TEAR TEEN TELL TEND TENT TEST TIDE
TILE TILT TINT TIRE TOAD TOLD TONE TOOL TORN TOSS TRAP TREE TRIO TRIP
"""


def all_words() -> list[str]:
    """List every word once, three letters first."""
    return [*_THREE.split(), *_FOUR.split()]


def letters() -> list[str]:
    """List the letters that occur, sorted."""
    return sorted(set("".join(all_words())))


def split_words() -> tuple[list[str], list[str]]:
    """Return (training words, held-out words); both lists keep the order of `all_words`."""
    held_out: set[str] = set()
    for length in (3, 4):
        group = [word for word in all_words() if len(word) == length]
        held_out.update(stable_order(group, key="words")[: round(HELD_OUT_FRACTION * len(group))])
    train = [word for word in all_words() if word not in held_out]
    return train, [word for word in all_words() if word in held_out]
