"""Neural style: losses as algebra, a painter from coarse to fine with a forecast, an instant one, one of your own, and a judge.

onelook style photo.jpg painting.jpg --out painted.jpg
"""
