ABSURD = {}
